"""One reading of a source for several targets: kept between their transactions, or said why not."""
