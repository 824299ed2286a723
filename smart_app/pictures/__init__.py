"""What a form shows besides words: which facts of the chart and of the answers go into the shared drawings."""
