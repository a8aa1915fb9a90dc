//! Flag definitions, the compiled ruleset, and evaluation with an explanation on request.
