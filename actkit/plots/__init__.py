"""Pictures: finished tables to plotly figures, one file a command. The only package that draws with plotly."""
