"""FedMosaic: Co-LoRA adapters and relevance-guided aggregation.

This package imports drake. drake finds the method and its commands through entry points and never imports it.
"""
