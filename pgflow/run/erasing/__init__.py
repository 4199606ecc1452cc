"""What may have to be forgotten: kept rows, quoted keys, and one key's way out of all of them."""
