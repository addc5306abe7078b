"""What an accelerator computes, checked first and then timed."""
