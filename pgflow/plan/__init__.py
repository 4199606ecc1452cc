"""SQL as objects: pure functions from facts to plans; nothing here touches a connection."""
