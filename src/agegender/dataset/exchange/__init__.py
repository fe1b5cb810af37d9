"""Other containers of faces: HDF5, WebDataset tars and insightface's records, read and written face by face."""
