"""What the notebooks use: figures, explorables, exercises, workbooks and checks of the machine."""
