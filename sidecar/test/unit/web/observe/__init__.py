"""Tests of ``sidecar.web.observe``."""
