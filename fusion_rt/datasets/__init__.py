"""The layouts of public data sets, read for import, training and evaluation alike."""
