"""Claims about size and data: scaling laws on power-law spectra."""
