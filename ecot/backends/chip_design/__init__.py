"""RTL on Icarus Verilog."""
