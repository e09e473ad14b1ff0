"""Full weight matrices: by descent at any depth, by descent and in closed form of two layers."""
