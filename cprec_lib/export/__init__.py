"""Export a trained run to the folder that `cprec_lib.serve` reads."""
