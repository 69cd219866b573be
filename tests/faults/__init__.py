"""Breaks things for real: real processes, real sockets, real kills; what clients see is counted, answer by answer."""
