// The words of the page. The choice of the language lives in this variable alone: nothing is stored.

const WORDS = {
  en: {
    title: "Age and gender from faces",
    skip: "Skip to the results",
    token: "This service wants a token",
    tokenUse: "Use it",
    tokenHint: "It is kept in this page alone, until it is closed.",
    tokenWrong: "The service does not know this token.",
    lead: "Drop photos here, or paste one",
    choose: "Choose photos",
    cameraStart: "Use the camera",
    privacy: "Nothing is kept: photos are looked at in memory and forgotten, and so are the answers.",
    camera: "Camera",
    cameraPhoto: "Take this picture",
    cameraTurn: "Other camera",
    cameraStop: "Stop the camera",
    cameraOn: "The camera is on.",
    cameraOff: "The camera is off.",
    cameraRate: ({ rate }) => `${rate} pictures a second`,
    cameraRefused: "The camera was refused; allow it in the browser's settings for this page.",
    cameraMissing: "There is no camera, or another program uses it.",
    cameraInsecure: "Browsers lend the camera only to pages over https, or from this machine itself.",
    results: "Results",
    saveAll: "All as JSON",
    clear: "Remove all",
    save: "JSON",
    picture: "Picture",
    remove: "Remove",
    removeNamed: ({ name }) => `Remove ${name}`,
    saveNamed: ({ name }) => `The faces of ${name} as JSON`,
    pictureNamed: ({ name }) => `${name} as a picture with boxes and labels`,
    cancel: "Cancel",
    cancelNamed: ({ name }) => `Cancel ${name}`,
    again: "Try again",
    againNamed: ({ name }) => `Try ${name} again`,
    doubt: "Age and gender are a net's estimates from a face, often wrong, and not the person's own word.",
    api: "The API behind this page",
    release: "Release to look for faces",
    pasted: ({ number }) => `Pasted picture ${number}`,
    taken: ({ number }) => `Camera picture ${number}`,
    waiting: "Waits for its turn",
    sending: ({ percent }) => `Sending: ${percent}%`,
    looking: "Looking for faces",
    busy: ({ seconds }) => `The service is busy; again in ${seconds} s`,
    cancelled: "Cancelled",
    offline: "The service can't be reached.",
    tooLarge: ({ size, most }) => `The photo has ${size} MB; this service takes at most ${most} MB.`,
    empty: "The photo is empty (0 bytes).",
    notFiles: "Only files of pictures can be dropped or pasted here.",
    unclear: "The service gave an answer that can't be understood.",
    swapped: "The answer belongs to another photo; it was thrown away.",
    faces: ({ count }) => (count === 0 ? "No face found" : count === 1 ? "1 face" : `${count} faces`),
    found: ({ name, faces }) => `${name}: ${faces}.`,
    failed: ({ name, problem }) => `${name}: ${problem}`,
    details: ({ width, height, seconds }) => `${width} × ${height} pixels, ${seconds} s`,
    face: ({ number }) => `Face ${number}`,
    facesOf: ({ name }) => `Faces in ${name}; arrow keys move between them`,
    tableOf: ({ name }) => `Faces in ${name}`,
    pictureOf: ({ name, faces }) => `${name}, ${faces}`,
    number: "Face",
    gender: "Gender",
    age: "Age",
    interval: "80% range",
    score: "Score",
    male: "male",
    female: "female",
    unsure: "unsure",
    initialMale: "M",
    initialFemale: "F",
    comma: ", ",
    intervalOf: ({ low, high }) => `80% between ${low} and ${high}`,
    ageOf: ({ age }) => `age ${age}`,
    chart: ({ number }) => `Ages of face ${number}`,
    chartPeak: ({ peak }) => `most likely ${peak}`,
    noDistribution: "This model tells no distribution, only this interval.",
    noAge: "This model tells no age.",
    hint: "Point at a face, tap it or use the arrow keys to see its ages.",
  },
  zh: {
    title: "人脸年龄与性别",
    skip: "跳到结果",
    token: "此服务需要令牌",
    tokenUse: "使用",
    tokenHint: "令牌只保存在本页面中，关闭页面即丢弃。",
    tokenWrong: "服务不认识这个令牌。",
    lead: "把照片拖到这里，或直接粘贴",
    choose: "选择照片",
    cameraStart: "使用摄像头",
    privacy: "不保留任何内容：照片只在内存中分析，随即丢弃，结果也一样。",
    camera: "摄像头",
    cameraPhoto: "拍下这一张",
    cameraTurn: "切换摄像头",
    cameraStop: "关闭摄像头",
    cameraOn: "摄像头已打开。",
    cameraOff: "摄像头已关闭。",
    cameraRate: ({ rate }) => `每秒 ${rate} 张`,
    cameraRefused: "摄像头被拒绝；请在浏览器设置中允许本页面使用。",
    cameraMissing: "没有摄像头，或它正被其他程序使用。",
    cameraInsecure: "浏览器只允许 https 页面或本机页面使用摄像头。",
    results: "结果",
    saveAll: "全部 JSON",
    clear: "全部移除",
    save: "JSON",
    picture: "图片",
    remove: "移除",
    removeNamed: ({ name }) => `移除 ${name}`,
    saveNamed: ({ name }) => `${name} 的人脸，JSON 格式`,
    pictureNamed: ({ name }) => `${name}，带方框和标签的图片`,
    cancel: "取消",
    cancelNamed: ({ name }) => `取消 ${name}`,
    again: "重试",
    againNamed: ({ name }) => `重试 ${name}`,
    doubt: "年龄和性别是神经网络根据人脸作出的估计，常有错误，不代表本人的陈述。",
    api: "本页面使用的 API",
    release: "松开即可查找人脸",
    pasted: ({ number }) => `粘贴的图片 ${number}`,
    taken: ({ number }) => `摄像头照片 ${number}`,
    waiting: "排队等待",
    sending: ({ percent }) => `正在发送：${percent}%`,
    looking: "正在查找人脸",
    busy: ({ seconds }) => `服务繁忙，${seconds} 秒后重试`,
    cancelled: "已取消",
    offline: "无法连接服务。",
    tooLarge: ({ size, most }) => `照片有 ${size} MB;此服务最多接受 ${most} MB。`,
    empty: "照片是空的(0 字节)。",
    notFiles: "这里只能拖放或粘贴图片文件。",
    unclear: "无法理解服务的回答。",
    swapped: "收到的是另一张照片的结果，已丢弃。",
    faces: ({ count }) => (count === 0 ? "没有找到人脸" : `${count} 张人脸`),
    found: ({ name, faces }) => `${name}：${faces}。`,
    failed: ({ name, problem }) => `${name}：${problem}`,
    details: ({ width, height, seconds }) => `${width} × ${height} 像素，${seconds} 秒`,
    face: ({ number }) => `人脸 ${number}`,
    facesOf: ({ name }) => `${name} 中的人脸；用方向键切换`,
    tableOf: ({ name }) => `${name} 中的人脸`,
    pictureOf: ({ name, faces }) => `${name}，${faces}`,
    number: "人脸",
    gender: "性别",
    age: "年龄",
    interval: "80% 区间",
    score: "得分",
    male: "男",
    female: "女",
    unsure: "不确定",
    initialMale: "男",
    initialFemale: "女",
    comma: "，",
    intervalOf: ({ low, high }) => `80% 在 ${low} 到 ${high} 岁之间`,
    ageOf: ({ age }) => `${age} 岁`,
    chart: ({ number }) => `人脸 ${number} 的年龄分布`,
    chartPeak: ({ peak }) => `最可能 ${peak} 岁`,
    noDistribution: "此模型不给出分布，只有这个区间。",
    noAge: "此模型不给出年龄。",
    hint: "指向、点按人脸或用方向键查看其年龄分布。",
  },
};

// The API's causes; its own line, in English, follows.
const CAUSES_ZH = {
  bad_image: "无法读取图片",
  too_many_pixels: "图片像素过多",
  body_too_large: "文件过大",
  queue_full: "队列已满",
  memory_full: "服务内存已满",
  deadline: "超过时限",
  slow_body: "上传过慢",
  stopping: "服务即将停止",
  broken: "服务需要重启",
  crash: "服务内部错误",
  token: "令牌缺失或错误",
};

let language = firstLanguage();
const listeners = [];

function firstLanguage() {
  const asked = new URLSearchParams(window.location.search).get("lang");
  for (const each of [asked, ...(navigator.languages ?? [navigator.language])]) {
    const short = (each ?? "").toLowerCase().split("-")[0];
    if (short in WORDS) return short;
  }
  return "en";
}

export function currentLanguage() {
  return language;
}

/** Return the words for `key`, with `values` put in. */
export function word(key, values = {}) {
  const found = WORDS[language][key];
  return typeof found === "function" ? found(values) : found;
}

/** Return the API's line about `problem`, in Chinese after what its cause means. */
export function problemText({ cause, message }) {
  const known = language === "zh" ? CAUSES_ZH[cause] : undefined;
  return known ? `${known} (${message})` : message;
}

/** Call `react` now and after each change of the language. */
export function onLanguage(react) {
  listeners.push(react);
  react();
}

export function setLanguage(chosen) {
  language = chosen;
  for (const react of listeners) react();
}

/** Put the words into all elements that name theirs with data-word. */
export function translatePage(root = document) {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = word("title");
  for (const element of root.querySelectorAll("[data-word]")) element.textContent = word(element.dataset.word);
}
