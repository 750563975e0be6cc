"""FedMosaic: Co-LoRA adapters and relevance-guided aggregation. Imports drake; drake never imports this."""
