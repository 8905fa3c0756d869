"""Writes `worked.jsonl`: small problems in English and Chinese with worked reasoning, every step of it computed.

Run it in this folder: `python make_reasoning.py`. The problems are ours (CC0-1.0).
"""

import json
import random
from fractions import Fraction
from math import gcd, lcm
from pathlib import Path

PER_KIND = 6


def euclid(rng: random.Random, zh: bool) -> tuple[str, str, str]:
    """The greatest common divisor, by divisions with remainder."""
    factor = rng.randint(2, 24)
    a, b = factor * rng.randint(20, 90), factor * rng.randint(5, 40)
    lines, x, y = [], max(a, b), min(a, b)
    while y:
        lines.append(f"{x} = {x // y} × {y} + {x % y}")
        x, y = y, x % y
    if zh:
        steps = "用辗转相除法：\n" + "\n".join(lines) + f"\n余数为 0 时的除数是 {x}。"
        return f"求 {a} 和 {b} 的最大公约数。", steps, f"最大公约数是 {x}。"
    steps = "By Euclid's algorithm:\n" + "\n".join(lines) + f"\nThe last divisor is {x}."
    return f"What is the greatest common divisor of {a} and {b}?", steps, f"The greatest common divisor is {x}."


def equation(rng: random.Random, zh: bool) -> tuple[str, str, str]:
    """A linear equation with a whole solution."""
    x, a, c = rng.randint(-12, 15), rng.randint(4, 12), rng.randint(1, 3)
    b = rng.choice([n for n in range(-30, 31) if n and (a - c) * x + n])
    d = (a - c) * x + b
    left = f"{a}x {'+' if b >= 0 else '-'} {abs(b)}"
    right = f"{'' if c == 1 else c}x {'+' if d >= 0 else '-'} {abs(d)}"
    rows = f"{a - c}x = {d} - ({b}) = {d - b}\nx = {d - b} / {a - c} = {x}"
    check = f"{a} × ({x}) + ({b}) = {a * x + b}, {c} × ({x}) + ({d}) = {c * x + d}"
    if zh:
        return f"解方程 {left} = {right}。", f"把含 x 的项移到左边：\n{rows}\n验算：{check}，两边相等。", f"x = {x}"
    steps = f"Collect the terms in x on the left:\n{rows}\nCheck: {check}, which are equal."
    return f"Solve the equation {left} = {right}.", steps, f"x = {x}"


def fractions(rng: random.Random, zh: bool) -> tuple[str, str, str]:
    """The sum of two fractions over their least common denominator."""
    p, q = rng.sample(range(3, 16), 2)
    a, b = Fraction(rng.randint(1, p - 1), p), Fraction(rng.randint(1, q - 1), q)
    m = lcm(a.denominator, b.denominator)
    u, v = a.numerator * (m // a.denominator), b.numerator * (m // b.denominator)
    total, common = a + b, gcd(u + v, m)
    rows = f"{a} = {u}/{m}, {b} = {v}/{m}\n{u}/{m} + {v}/{m} = {u + v}/{m}"
    if common > 1:
        rows += f" = {total}"
    if zh:
        return f"计算 {a} + {b}，写成最简分数。", f"公分母是 {m}。\n{rows}", f"{a} + {b} = {total}"
    question = f"Add {a} and {b}. Give the sum in lowest terms."
    return question, f"The least common denominator is {m}.\n{rows}", f"{a} + {b} = {total}"


def series(rng: random.Random, zh: bool) -> tuple[str, str, str]:
    """The sum of an arithmetic series."""
    first, step, count = rng.randint(1, 20), rng.randint(2, 9), rng.randint(8, 40)
    last = first + (count - 1) * step
    total = count * (first + last) // 2
    rows = f"{first} + {count - 1} × {step} = {last}\n{count} × ({first} + {last}) / 2 = {total}"
    shown = f"{first}, {first + step}, {first + 2 * step}, ..."
    if zh:
        return (
            f"等差数列 {shown} 的前 {count} 项之和是多少？",
            f"先求最后一项，再求和：\n{rows}",
            f"前 {count} 项之和是 {total}。",
        )
    question = f"What is the sum of the first {count} terms of the arithmetic sequence {shown}?"
    return question, f"First the last term, then the sum:\n{rows}", f"The sum is {total}."


def speed(rng: random.Random, zh: bool) -> tuple[str, str, str]:
    """Two trains that meet."""
    a, b, hours = rng.randrange(40, 120, 5), rng.randrange(40, 120, 5), rng.randint(2, 6)
    distance = (a + b) * hours
    rows = f"{a} + {b} = {a + b}\n{distance} / {a + b} = {hours}"
    if zh:
        question = (
            f"两列火车从相距 {distance} 千米的两地同时相向而行，速度分别是每小时 {a} 千米和 {b} 千米。几小时后相遇？"
        )
        return question, f"两车每小时共走：\n{rows}", f"{hours} 小时后相遇。"
    question = (
        f"Two trains start at the same time from towns {distance} km apart and travel towards each other at {a} km/h "
        f"and {b} km/h. After how many hours do they meet?"
    )
    return question, f"Together they cover each hour:\n{rows}", f"They meet after {hours} hours."


def main() -> None:
    """Write the file."""
    rng = random.Random(0)
    with Path("worked.jsonl").open("w", encoding="utf-8") as file:
        for kind in (euclid, equation, fractions, series, speed):
            for number in range(2 * PER_KIND):
                question, steps, answer = kind(rng, zh=number % 2 == 1)
                turns = [
                    {"role": "user", "content": question},
                    {"role": "assistant", "content": f"<think>\n{steps}\n</think>\n{answer}"},
                ]
                file.write(json.dumps({"messages": turns}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
