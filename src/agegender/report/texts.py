"""What the report says, in English and Chinese."""

_PAIRS = {
    "title": ("Evaluation", "评测报告"),
    "summary": ("In short", "概要"),
    "overall": ("All faces", "全部人脸"),
    "figure": ("figure", "指标"),
    "value": ("value", "数值"),
    "n": ("faces", "人脸数"),
    "interval": ("95% interval", "95%区间"),
    "unknown": ("not known", "未知"),
    "few": ("* fewer than {few} faces: read the interval, not the value", "* 不足{few}张人脸：请看区间，不要只看数值"),
    "pictures": ("Pictures", "图表"),
    "worst": ("Largest age errors", "年龄误差最大的人脸"),
    "worst_gender": ("Most surely the wrong gender", "性别误判最确信的人脸"),
    "worst_how": ("true → estimated age", "真实年龄 → 估计年龄"),
    "worst_gender_how": (
        "true gender, probability of the other one",
        "真实性别，以及被判为另一性别的概率",
    ),
    "about": ("How this was made", "来历"),
    "age": ("By true age", "按真实年龄"),
    "gender": ("By gender", "按性别"),
    "group": ("By group", "按组别"),
    "source": ("By source", "按来源"),
    "bin": ("By bin of ages", "按年龄段"),
    "age_gender": ("By age and gender", "按年龄与性别"),
    "gender_group": ("By gender and group", "按性别与组别"),
    "size": ("By face size (pixels, root of the box's area)", "按人脸大小（像素，框面积的平方根）"),
    "score": ("By detection score (quarters of the faces)", "按检测分数（四等分）"),
    "cum": ("Share of faces by years off", "误差不超过若干岁的比例"),
    "confusion_decades": ("True decade (rows) and estimated one (columns)", "真实年代（行）与估计年代（列）"),
    "confusion_bins": ("True bin (rows) and estimated one (columns)", "真实年龄段（行）与估计年龄段（列）"),
    "female": ("female", "女"),
    "male": ("male", "男"),
    "mae": ("mean error, years (MAE)", "平均误差，岁（MAE）"),
    "rmse": ("root mean square error, years (RMSE)", "均方根误差，岁（RMSE）"),
    "bias": ("bias, years (positive: estimated too old)", "偏差，岁（正数：估计偏大）"),
    "CUM_5": ("at most 5 years off (CUM_5)", "误差不超过5岁（CUM_5）"),
    "epsilon": ("epsilon-error, 1 - exp(-(x - mu)² / 2 sigma²)", "ε误差，1 - exp(-(x - mu)² / 2 sigma²)"),
    "bin_acc": ("age in the right bin", "年龄段正确率"),
    "bin_1off": ("age in the right bin or one beside it", "年龄段正确或相差一段"),
    "acc": ("right gender", "性别正确率"),
    "balanced_acc": ("right gender, both genders weighing the same", "性别正确率（两性等权）"),
    "auc": ("area under the ROC curve of gender", "性别ROC曲线下面积"),
    "ece": ("calibration error of gender (ECE, 15 bins)", "性别校准误差（ECE，15格）"),
    "fpr18_25": (
        "under 18 but estimated 25 or older (false positive rate at 18, challenge age 25)",
        "未满18岁却被估计为25岁及以上（18岁误放率，查验年龄25）",
    ),
    "under13_over18": ("under 13 but estimated 18 or older", "未满13岁却被估计为18岁及以上"),
    "coverage50": ("true age inside the 50% interval", "真实年龄在50%区间内"),
    "coverage80": ("true age inside the 80% interval", "真实年龄在80%区间内"),
    "coverage90": ("true age inside the 90% interval", "真实年龄在90%区间内"),
    "width80": ("mean width of the 80% interval, years", "80%区间平均宽度，岁"),
    "short_mae": ("MAE, years", "MAE，岁"),
    "short_bias": ("bias, years", "偏差，岁"),
    "short_CUM_5": ("CUM_5", "CUM_5"),
    "short_acc": ("right gender", "性别正确率"),
    "short_bin_acc": ("right bin", "年龄段正确"),
    "short_bin_1off": ("right bin or next", "相差不超过一段"),
    "macro_mae": (
        "mean error, every cell of age x gender weighing the same, years",
        "平均误差（年龄×性别各格等权），岁",
    ),
    "macro_acc": ("right gender, every cell of age x gender weighing the same", "性别正确率（年龄×性别各格等权）"),
    "macro_how": (
        "Cells are decades of age by gender; {cells} with at least {least} faces count, {left_out} with fewer do not.",
        "各格为年代×性别；至少{least}张人脸的{cells}格计入，不足的{left_out}格不计。",
    ),
    "minors_how": (
        "Challenge age and false positive rate: terms as in NIST IR 8525 (Face Analysis Technology Evaluation: Age "
        "Estimation & Verification); this is not its test.",
        "查验年龄与误放率的用语同NIST IR 8525（Face Analysis Technology Evaluation: Age Estimation & "
        "Verification）；本页并非该测试。",
    ),
    "share_how": (
        "A share of 0% or 100% has Clopper and Pearson's interval; that of ECE is the basic bootstrap's.",
        "比例为0%或100%时采用Clopper-Pearson区间；ECE采用基本自助法区间。",
    ),
    "cum_x": ("years off, at most", "误差不超过（岁）"),
    "cum_y": ("share of faces", "人脸比例"),
    "decade": ("true age", "真实年龄"),
    "mae_y": ("mean error (years)", "平均误差（岁）"),
    "true_age": ("true age (years)", "真实年龄（岁）"),
    "predicted_age": ("estimated age (years)", "估计年龄（岁）"),
    "residual": ("estimated minus true (years)", "估计减真实（岁）"),
    "confidence": ("confidence in the gender", "性别置信度"),
    "accuracy": ("share that is right", "正确比例"),
    "roc_x": ("women taken for men", "女性被判为男性的比例"),
    "roc_y": ("men taken for men", "男性被判为男性的比例"),
    "draw_cum": ("Share of faces at most so many years off, with 95% band", "误差不超过若干岁的人脸比例及95%带"),
    "draw_errors": ("Mean error by true age, with 95% intervals", "各年龄平均误差及95%区间"),
    "draw_ages": ("Estimated over true age, a point per face", "估计年龄与真实年龄，每点一张人脸"),
    "draw_residuals": ("Error over true age, and its mean by decade", "误差与真实年龄，以及各年代平均"),
    "draw_reliability": ("Reliability: right genders by confidence", "可靠性：各置信度下的性别正确率"),
    "draw_roc": ("ROC curve of gender", "性别ROC曲线"),
    "short_age": (
        "The age is {value:.1f} years off on average ({low:.1f} to {high:.1f}); it was measured on {n} faces.",
        "年龄平均误差{value:.1f}岁（{low:.1f}至{high:.1f}），共测{n}张人脸。",
    ),
    "short_bins": (
        "The age is in the right bin for {value:.1%} ({low:.1%} to {high:.1%}) of {n} faces.",
        "{n}张人脸中年龄段正确率{value:.1%}（{low:.1%}至{high:.1%}）。",
    ),
    "short_gender": (
        "The gender is right for {value:.1%} ({low:.1%} to {high:.1%}) of {n} faces.",
        "{n}张人脸中性别正确率{value:.1%}（{low:.1%}至{high:.1%}）。",
    ),
    "short_worst": (
        "Ages are furthest off at {name}: {value:.1f} years on average, over {n} faces "
        "(of the decades with at least {few} faces).",
        "{name}岁误差最大：平均{value:.1f}岁，共{n}张人脸（只比较至少{few}张人脸的年代）。",
    ),
    "short_gap": (
        "By gender and group, the gender is right for {worst:.1%} ({worst_name}) to {best:.1%} ({best_name}); cells of "
        "fewer than {few} faces aside.",
        "按性别与组别，性别正确率从{worst:.1%}（{worst_name}）到{best:.1%}（{best_name}）；不足{few}张人脸的格除外。",
    ),
    "short_minors": (
        "Of {n} faces under 18, {value:.1%} ({low:.1%} to {high:.1%}) are estimated 25 or older.",
        "{n}张未满18岁的人脸中，{value:.1%}（{low:.1%}至{high:.1%}）被估计为25岁及以上。",
    ),
    "short_none": ("No label is known, so nothing could be scored.", "没有标签，无法评分。"),
    "images": (
        "Intervals: bootstrap over images, {resamples} resamples, seed {seed}.",
        "区间：按图像自助抽样{resamples}次，种子{seed}。",
    ),
    "subjects": (
        "Intervals: bootstrap over the {subjects} subjects, {resamples} resamples, seed {seed}.",
        "区间：按{subjects}名人物自助抽样{resamples}次，种子{seed}。",
    ),
    "both": (
        "Intervals: bootstrap over the {subjects} subjects that are known of {faces_with_subject} faces, and over the "
        "other images one by one, {resamples} resamples, seed {seed}; they may be too narrow.",
        "区间：{faces_with_subject}张人脸已知属于{subjects}名人物，按人物抽样，其余逐张抽样，共{resamples}次，"
        "种子{seed}；可能偏窄。",
    ),
}
TEXTS = {lang: {name: pair[i] for name, pair in _PAIRS.items()} for i, lang in enumerate(("en", "zh"))}

# What the codes of a set's groups mean, by source.
GROUPS = {
    "UTKFace": {
        "0": ("White", "白人"),
        "1": ("Black", "黑人"),
        "2": ("Asian", "亚裔"),
        "3": ("Indian", "印度裔"),
        "4": ("other", "其他"),
    }
}


def group_names(sources: set[str], lang: str) -> dict[str, str]:
    """Return in words the group codes of faces that are all of one source, the code behind; {} where none are known."""
    codes = GROUPS.get(next(iter(sources)), {}) if len(sources) == 1 else {}
    return {code: f"{names[lang == 'zh']} ({code})" for code, names in codes.items()}
