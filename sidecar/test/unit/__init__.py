"""Tests of one module each, in folders that mirror the product's."""
