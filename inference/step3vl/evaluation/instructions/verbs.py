"""English verbs that responses start with."""

_VERBS_TEXT = """
    accept access achieve acknowledge act adapt add address adjust admit adopt advance advise affirm aim align allow
    amplify analyse analyze announce answer anticipate appear apply appreciate approach approve argue arise arrange
    arrive ask assemble assert assess assign assist assume attach attempt attend avoid awaken balance base be become
    beg begin behold believe blend boil boost break breathe bring broaden browse build buy calculate call capture care
    carry catch cause celebrate challenge change chart check choose clarify classify clean clear click climb close
    code collaborate collect combine come commence compare compile complete compose compute conceive concentrate
    conclude condense conduct confirm connect consider construct consult consume contact contain continue contrast
    contribute convert convey cook copy correct count cover craft create cultivate cut dance dare decide declare
    decode decrease dedicate deem deepen define delete deliver delve demonstrate denote deploy derive describe design
    detail detect determine develop devise differentiate dig direct discover discuss display dissect dive divide do
    document download draft dream dress drink drive earn eat edit elaborate elevate embark embrace emphasize employ
    empower enable encounter encourage end engage enhance enjoy ensure enter envision establish estimate evaluate
    evolve examine execute exercise exist expand expect experience experiment explain explore express extend extract
    face facilitate factor fall feel fetch fight figure fill filter find finish fix focus follow forget form formulate
    foster frame gather gaze generate get give glance go grab grasp grow guess guide handle harness have hear help
    highlight hire hold honor hope identify ignite illustrate imagine immerse implement improve include incorporate
    increase indicate inform initialize innovate input insert inspect inspire install integrate interpret introduce
    invent invest investigate invite involve join judge jump justify keep know launch lead learn leave let leverage
    lie list listen live locate look lose love maintain make manage map mark master match maximize mean measure meet
    mention merge minimize mix modify monitor move multiply name narrate navigate need negotiate note notice notify
    nurture observe obtain offer open operate optimize order organize outline overcome pack paint participate pass
    pause pay perceive perform persist pick place plan plant play plot plunge point ponder position practice praise
    predict prepare present preserve press prevent print prioritize proceed process produce program promote propose
    protect prove provide publish pulse purchase pursue put question quote raise read realize rearrange recall receive
    recognize recommend reconsider record recreate reduce refactor refer refine reflect refrain refuse regard
    reimagine reinforce relate relax rely remain remember remove rename render reorganize repeat replace reply report
    represent request require research resolve respect respond rest restore restructure reveal reverse review revise
    rewrite rise roll run save say scan schedule search secure see seek seem select send separate serve set shake
    shape share shift shine show sign simplify simulate sing sit sketch skip solve sort speak specify speculate spend
    stand start state stay step stop strengthen strive structure study submit subtract succeed suggest sum summarize
    support suppose survive switch synthesize take talk teach tell test thank think thrive track transform translate
    travel treat trust try turn understand undertake unfold unite unleash unlock unravel unveil update upgrade use
    utilize validate value verify view visit visualize wait wake walk want warn watch weave weigh welcome whir whisper
    win wish witness wonder work worry wrap write yield zoom am is are was were been has had did does gone made said
    told wrote went
"""
_VERBS = frozenset(_VERBS_TEXT.split())


def is_verb(word: str) -> bool:
    """Whether a word is a common English verb, in its base form or inflected with `s`, `ed` or `ing`."""
    word = word.lower()
    stems = [word]
    for ending in ("ing", "ed", "es", "s", "d"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 1:
            stems += [stem, stem + "e", stem[:-1] if stem[-1] == stem[-2] else stem]
    return any(stem in _VERBS for stem in stems)
