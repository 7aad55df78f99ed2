"""ICWM, the industrial code world model: it says what a tool would say of a candidate, and is audited by the tool."""
