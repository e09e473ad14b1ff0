"""Claims about what is done against overtraining."""
