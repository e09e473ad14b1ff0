"""Claims on noise, curvature and what monitors see."""
