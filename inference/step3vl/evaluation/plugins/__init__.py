"""Our engine and PaCoRe as models of other harnesses: lmms-eval and VLMEvalKit."""
