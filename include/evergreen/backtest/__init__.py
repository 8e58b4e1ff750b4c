"""How a spec would have done over its history: trained again and again, judged on what came next, recorded nowhere."""
