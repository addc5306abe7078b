"""How good a posterior is: against closed forms and long runs of NUTS."""
