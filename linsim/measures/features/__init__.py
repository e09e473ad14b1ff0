"""How the features of the inputs share the hidden layer."""
