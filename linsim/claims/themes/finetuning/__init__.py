"""Claims on fine-tuning, forgetting and where more pre-training harms."""
