"""Pictures: finished tables to plotly figures, one folder a command. The only package that draws with plotly."""
