"""The CPU's CUDA: a header that candidates are compiled with, and the program around them."""
