"""What a run does when something fails: retry, find out what the server knows, or stop at once."""
