"""The methods FedMosaic is compared with, one file each. Imports drake; drake never imports this."""
