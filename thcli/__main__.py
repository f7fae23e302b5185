"""``python -m thcli`` runs ``thgen``."""

from thcli.commands.main import main

main()
