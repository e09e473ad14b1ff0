"""Claims about what data decide."""
