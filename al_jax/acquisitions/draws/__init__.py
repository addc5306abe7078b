"""Methods that look at the K draws of every row."""
