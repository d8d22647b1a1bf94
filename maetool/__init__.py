"""maetool: a toolbox for masked image modelling. Importing it imports nothing heavy."""

__version__ = "0.1.0"
