"""What figures are built from: axes and labelled values in, a panel of one look out."""
