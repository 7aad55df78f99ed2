"""Reading (System)Verilog: a syntax tree, what it declares, what drives what."""
