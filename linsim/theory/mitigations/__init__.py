"""Closed forms of what is done against overtraining: in pre-training, to its checkpoint, and in fine-tuning."""
