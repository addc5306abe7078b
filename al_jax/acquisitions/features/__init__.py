"""Methods that look at the features of every row."""
