import numpy as np

sigmoid_forward = lambda x: (np.exp(-np.logaddexp(0, -x)), None)
