"""Running the arms of a paper, keeping their results, and comparing them with published runs."""
