"""The article *LSTM by Example using TensorFlow*, runnable: its experiment, its tips, and a page that shows them."""
