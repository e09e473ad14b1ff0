"""Theoretical claims that can be refuted: `claim` says what one is, `judge` tries it, `registry` holds them all."""
