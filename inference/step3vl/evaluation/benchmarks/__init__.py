"""One module for each benchmark; `step3vl.evaluation.registry` names them all."""
