"""Compounds with their names in English and Chinese, functional groups and atomic masses."""

from fractions import Fraction
from typing import NamedTuple


class Compound(NamedTuple):
    """A compound with its names and its most telling group."""

    smiles: str
    en: str
    zh: str
    group: str


GROUPS: dict[str, tuple[str, str, str]] = {
    # Name, Chinese name, SMARTS.
    "alcohol": ("alcohol", "醇", "[CX4][OX2H]"),
    "acid": ("carboxylic acid", "羧酸", "[CX3](=O)[OX2H]"),
    "ester": ("ester", "酯", "[CX3](=O)[OX2][#6]"),
    "aldehyde": ("aldehyde", "醛", "[CX3H1](=O)[#6]"),
    "ketone": ("ketone", "酮", "[#6][CX3](=O)[#6]"),
    "amine": ("primary amine", "伯胺", "[CX4][NX3H2]"),
    "amide": ("amide", "酰胺", "[CX3](=O)[NX3]"),
    "ether": ("ether", "醚", "[CX4][OX2][CX4]"),
    "nitrile": ("nitrile", "腈", "C#N"),
    "alkene": ("alkene", "烯烃", "[CX3;!$(C=O)]=[CX3]"),
    "alkyne": ("alkyne", "炔烃", "C#C"),
    "phenol": ("phenol", "酚", "c[OX2H]"),
    "halide": ("alkyl halide", "卤代烷", "[CX4][F,Cl,Br,I]"),
    "thiol": ("thiol", "硫醇", "[CX4][SX2H]"),
}

MASSES = {
    "H": Fraction("1.008"), "C": Fraction("12.011"), "N": Fraction("14.007"), "O": Fraction("15.999"),
    "F": Fraction("18.998"), "S": Fraction("32.06"), "Cl": Fraction("35.45"), "Br": Fraction("79.904"),
    "I": Fraction("126.904"),
}  # fmt: skip


COMPOUNDS = tuple(
    Compound(*row.split("|"))
    for row in """CCO|ethanol|乙醇|alcohol
CCCO|propan-1-ol|1-丙醇|alcohol
CC(O)C|propan-2-ol|2-丙醇|alcohol
CCCCO|butan-1-ol|1-丁醇|alcohol
CCC(O)C|butan-2-ol|2-丁醇|alcohol
CC(C)CO|2-methylpropan-1-ol|2-甲基-1-丙醇|alcohol
CC(C)(C)O|2-methylpropan-2-ol|2-甲基-2-丙醇|alcohol
CCCCCO|pentan-1-ol|1-戊醇|alcohol
OC1CCCCC1|cyclohexanol|环己醇|alcohol
OC1CCCC1|cyclopentanol|环戊醇|alcohol
CC(=O)O|ethanoic acid|乙酸|acid
CCC(=O)O|propanoic acid|丙酸|acid
CCCC(=O)O|butanoic acid|丁酸|acid
CCCCC(=O)O|pentanoic acid|戊酸|acid
CC(C)C(=O)O|2-methylpropanoic acid|2-甲基丙酸|acid
O=C(O)c1ccccc1|benzoic acid|苯甲酸|acid
CC(=O)OC|methyl ethanoate|乙酸甲酯|ester
CC(=O)OCC|ethyl ethanoate|乙酸乙酯|ester
CCC(=O)OC|methyl propanoate|丙酸甲酯|ester
CCCC(=O)OC|methyl butanoate|丁酸甲酯|ester
CCCC(=O)OCC|ethyl butanoate|丁酸乙酯|ester
COC(=O)c1ccccc1|methyl benzoate|苯甲酸甲酯|ester
CCC=O|propanal|丙醛|aldehyde
CCCC=O|butanal|丁醛|aldehyde
CCCCC=O|pentanal|戊醛|aldehyde
CC(C)C=O|2-methylpropanal|2-甲基丙醛|aldehyde
O=Cc1ccccc1|benzaldehyde|苯甲醛|aldehyde
CC(=O)C|propan-2-one|丙酮|ketone
CCC(=O)C|butan-2-one|2-丁酮|ketone
CCCC(=O)C|pentan-2-one|2-戊酮|ketone
CCC(=O)CC|pentan-3-one|3-戊酮|ketone
O=C1CCCCC1|cyclohexanone|环己酮|ketone
O=C1CCCC1|cyclopentanone|环戊酮|ketone
CC(=O)c1ccccc1|acetophenone|苯乙酮|ketone
CCN|ethanamine|乙胺|amine
CCCN|propan-1-amine|1-丙胺|amine
CC(N)C|propan-2-amine|2-丙胺|amine
CCCCN|butan-1-amine|1-丁胺|amine
NC1CCCCC1|cyclohexanamine|环己胺|amine
CC(=O)N|ethanamide|乙酰胺|amide
CCC(=O)N|propanamide|丙酰胺|amide
NC(=O)c1ccccc1|benzamide|苯甲酰胺|amide
COCC|methoxyethane|甲氧基乙烷|ether
CCOCC|ethoxyethane|乙醚|ether
COCCC|1-methoxypropane|1-甲氧基丙烷|ether
C1CCOC1|tetrahydrofuran|四氢呋喃|ether
CCC#N|propanenitrile|丙腈|nitrile
CCCC#N|butanenitrile|丁腈|nitrile
CC=C|propene|丙烯|alkene
CCC=C|but-1-ene|1-丁烯|alkene
CC(C)=C|2-methylpropene|2-甲基丙烯|alkene
CCCC=C|pent-1-ene|1-戊烯|alkene
C1=CCCCC1|cyclohexene|环己烯|alkene
C=CC=C|buta-1,3-diene|1,3-丁二烯|alkene
C=Cc1ccccc1|styrene|苯乙烯|alkene
CCC#C|but-1-yne|1-丁炔|alkyne
CC#CC|but-2-yne|2-丁炔|alkyne
CCCC#C|pent-1-yne|1-戊炔|alkyne
Oc1ccccc1|phenol|苯酚|phenol
Cc1ccccc1O|2-methylphenol|邻甲基苯酚|phenol
Cc1ccc(O)cc1|4-methylphenol|对甲基苯酚|phenol
CCCl|chloroethane|氯乙烷|halide
CCCBr|1-bromopropane|1-溴丙烷|halide
CC(Br)C|2-bromopropane|2-溴丙烷|halide
CCCCCl|1-chlorobutane|1-氯丁烷|halide
CC(C)(C)Cl|2-chloro-2-methylpropane|2-氯-2-甲基丙烷|halide
CCCI|1-iodopropane|1-碘丙烷|halide
CCS|ethanethiol|乙硫醇|thiol
CCCS|propane-1-thiol|1-丙硫醇|thiol""".splitlines()
)


HYDROCARBONS = tuple(
    tuple(row.split("|"))
    for row in """CCC|propane|丙烷
CCCC|butane|丁烷
CC(C)C|2-methylpropane|2-甲基丙烷
CCCCC|pentane|戊烷
CC(C)CC|2-methylbutane|2-甲基丁烷
CC(C)(C)C|2,2-dimethylpropane|2,2-二甲基丙烷
CCCCCC|hexane|己烷
CC(C)CCC|2-methylpentane|2-甲基戊烷
CCC(C)CC|3-methylpentane|3-甲基戊烷
CC(C)C(C)C|2,3-dimethylbutane|2,3-二甲基丁烷
CC(C)(C)CC|2,2-dimethylbutane|2,2-二甲基丁烷
CCCCCCC|heptane|庚烷
CC(C)CCCC|2-methylhexane|2-甲基己烷
CCC(C)CCC|3-methylhexane|3-甲基己烷
CC(C)CC(C)C|2,4-dimethylpentane|2,4-二甲基戊烷
CC(C)C(C)CC|2,3-dimethylpentane|2,3-二甲基戊烷
CCCCCCCC|octane|辛烷
C1CCCCC1|cyclohexane|环己烷
C1CCCC1|cyclopentane|环戊烷
CC1CCCCC1|methylcyclohexane|甲基环己烷
CC1CCCC1|methylcyclopentane|甲基环戊烷
c1ccccc1|benzene|苯
Cc1ccccc1|toluene|甲苯
Cc1ccccc1C|1,2-dimethylbenzene|邻二甲苯
Cc1cccc(C)c1|1,3-dimethylbenzene|间二甲苯
Cc1ccc(C)cc1|1,4-dimethylbenzene|对二甲苯
CCc1ccccc1|ethylbenzene|乙苯""".splitlines()
)


FRAGMENTS = (
    "C",
    "CC",
    "O",
    "N",
    "C(=O)",
    "C=C",
    "C#C",
    "C(C)",
    "C(O)",
    "C1CC1",
    "c1ccccc1",
    "C(=O)O",
    "C(Cl)",
    "OC",
    "C(=O)N",
    "C1CCCC1",
)
