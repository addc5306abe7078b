"""What the authors of the reproduced papers measured."""
