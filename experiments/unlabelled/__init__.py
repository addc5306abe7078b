"""What unlabelled rows are worth: objectives and encoders, with and without active learning."""
