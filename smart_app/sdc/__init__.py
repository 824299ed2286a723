"""The engine of forms (SDC): pure. Questionnaire, chart and draft in; answers, problems and a response out."""
