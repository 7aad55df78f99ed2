"""C and x86-64 assembly against gcc -O3."""
