"""How much an answer depends on where an object stands, how it is turned and how large it is.

After the invariance evaluation of STM-Evaluation (Dai et al., "Demystify Transformers & Convolutions in Modern Image
Deep Networks", arXiv 2211.05781, https://github.com/OpenGVLab/STM-Evaluation): `views` has what is done to an image,
`protocols` which views there are, `consistency` what the answers to them say.
"""
