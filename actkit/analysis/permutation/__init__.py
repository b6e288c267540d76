"""p-values of columns of features by exchange of labels."""
