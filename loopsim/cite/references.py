"""Every reference that loopsim can name, in one table; an entry is here only if its facts are certain.

Authors beyond the first few are `others`, which BibTeX prints as "et al.".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from loopsim import __version__


@dataclass(frozen=True)
class Reference:
    """One entry of a bibliography."""

    key: str
    """What a paper cites it by."""
    kind: str
    """BibTeX entry type."""
    authors: tuple[str, ...]
    """`Family, Given` each, or a group in braces."""
    title: str
    """As printed."""
    year: int | None
    """Of publication; None for software that is not versioned by years."""
    fields: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Further BibTeX fields: journal, volume, pages, doi, eprint, …"""


def _entry(key: str, kind: str, authors: str, title: str, year: int | None, fields: Mapping[str, str]) -> Reference:
    names = tuple(authors.split(" and "))
    return Reference(key, kind, names, title, year, {k: v for k, v in fields.items() if v})


def _article(
    key: str, authors: str, title: str, year: int, journal: str, volume: str = "", pages: str = "", doi: str = "",
    arxiv: str = "",
) -> Reference:  # fmt: skip
    """`volume` may be `V(N)`."""
    number = volume.partition("(")[2].rstrip(")")
    fields = {"journal": journal, "volume": volume.partition("(")[0], "number": number, "pages": pages, "doi": doi}
    return _entry(key, "article", authors, title, year, fields | _arxiv(arxiv))


def _proceedings(
    key: str, authors: str, title: str, year: int, book: str, pages: str = "", doi: str = "", arxiv: str = ""
) -> Reference:
    fields = {"booktitle": book, "pages": pages, "doi": doi} | _arxiv(arxiv)
    return _entry(key, "inproceedings", authors, title, year, fields)


def _preprint(key: str, authors: str, title: str, year: int, arxiv: str) -> Reference:
    return _entry(key, "misc", authors, title, year, {"howpublished": f"arXiv:{arxiv}"} | _arxiv(arxiv))


def _arxiv(number: str) -> dict[str, str]:
    return {"eprint": number, "archiveprefix": "arXiv"} if number else {}


def _software(
    key: str, authors: str, title: str, year: int | None, url: str = "", doi: str = "", note: str = ""
) -> Reference:
    fields = {"howpublished": "software", "url": url, "doi": doi, "note": note}
    return _entry(key, "misc", authors, title, year, fields)


_LOOPSIM = (
    _software("loopsim", "{The loopsim authors}", "loopsim", None, note=f"version {__version__}"),
    _article("hintze2025", "Hintze, Arend and Proschinger Åström, Frida and Schossau, Jory",
             "Autonomous language-image generation loops converge to generic visual motifs", 2025, "Patterns", "7(1)",
             "101451", "10.1016/j.patter.2025.101451"),
)  # fmt: skip

_MEASURES = (
    _article("friedman2023", "Friedman, Dan and Dieng, Adji Bousso",
             "The Vendi Score: A Diversity Evaluation Metric for Machine Learning", 2023,
             "Transactions on Machine Learning Research", arxiv="2210.02410"),
    _proceedings("pasarkar2024", "Pasarkar, Amey P. and Dieng, Adji Bousso",
                 "Cousins of the Vendi Score: A Family of Similarity-Based Diversity Metrics for Science and Machine "
                 "Learning", 2024, "Proceedings of the 27th International Conference on Artificial Intelligence and "
                 "Statistics (AISTATS)", arxiv="2310.12952"),
    _article("hurlbert1971", "Hurlbert, Stuart H.",
             "The Nonconcept of Species Diversity: A Critique and Alternative Parameters", 1971, "Ecology", "52(4)",
             "577--586", "10.2307/1934145"),
    _proceedings("jalali2023", "Jalali, Mohammad and Li, Cheuk Ting and Farnia, Farzan",
                 "An Information-Theoretic Evaluation of Generative Models in Learning Multi-modal Distributions", 2023,
                 "Advances in Neural Information Processing Systems 36"),
    _proceedings("roy2007", "Roy, Olivier and Vetterli, Martin",
                 "The effective rank: A measure of effective dimensionality", 2007,
                 "15th European Signal Processing Conference (EUSIPCO)", "606--610"),
    _article("gao2017", "Gao, Peiran and Trautmann, Eric and Yu, Byron and others",
             "A theory of multineuronal dimensionality, dynamics and measurement", 2017, "bioRxiv",
             doi="10.1101/214262"),
    _article("moon2025", "Moon, Kibum and Green, Adam E. and Kushlev, Kostadin",
             "Homogenizing effect of large language models (LLMs) on creative diversity: An empirical comparison of "
             "human and ChatGPT writing", 2025, "Computers in Human Behavior: Artificial Humans", "6", "100207",
             "10.1016/j.chbah.2025.100207"),
    _article("chao2013", "Chao, Anne and Wang, Y. T. and Jost, Lou",
             "Entropy and the species accumulation curve: a novel entropy estimator via discovery rates of new "
             "species", 2013, "Methods in Ecology and Evolution", "4(11)", "1091--1100", "10.1111/2041-210X.12108"),
    _article("hill1973", "Hill, M. O.", "Diversity and Evenness: A Unifying Notation and Its Consequences", 1973,
             "Ecology", "54(2)", "427--432", "10.2307/1934352"),
    _article("jost2006", "Jost, Lou", "Entropy and diversity", 2006, "Oikos", "113(2)", "363--375",
             "10.1111/j.2006.0030-1299.14714.x"),
    _article("lloyd1982", "Lloyd, Stuart P.", "Least squares quantization in PCM", 1982,
             "IEEE Transactions on Information Theory", "28(2)", "129--137", "10.1109/TIT.1982.1056489"),
    _proceedings("arthur2007", "Arthur, David and Vassilvitskii, Sergei",
                 "k-means++: The Advantages of Careful Seeding", 2007,
                 "Proceedings of the 18th Annual ACM-SIAM Symposium on Discrete Algorithms", "1027--1035"),
    _proceedings("hessel2021", "Hessel, Jack and Holtzman, Ari and Forbes, Maxwell and Le Bras, Ronan and Choi, Yejin",
                 "CLIPScore: A Reference-free Evaluation Metric for Image Captioning", 2021,
                 "Proceedings of the 2021 Conference on Empirical Methods in Natural Language Processing",
                 "7514--7528", arxiv="2104.08718"),
    _preprint("mollah2025", "Mollah, Sabbir and Gupta, Rohit and Swetha, Sirnam and Liu, Qingyang and Munir, Ahnaf and "
              "Shah, Mubarak", "The Telephone Game: Evaluating Semantic Drift in Unified Models", 2025, "2509.04438"),
    _proceedings("perez2025", "Perez, Jérémy and Kovač, Grgur and Léger, Corentin and others",
                 "When LLMs Play the Telephone Game: Cultural Attractors as Conceptual Tools to Evaluate LLMs in "
                 "Multi-turn Settings", 2025, "International Conference on Learning Representations (ICLR)",
                 arxiv="2407.04503"),
    _article("griffiths2007", "Griffiths, Thomas L. and Kalish, Michael L.",
             "Language Evolution by Iterated Learning With Bayesian Agents", 2007, "Cognitive Science", "31(3)",
             "441--480", "10.1080/15326900701326576"),
    _article("xu2010", "Xu, Jing and Griffiths, Thomas L.",
             "A rational analysis of the effects of memory biases on serial reproduction", 2010,
             "Cognitive Psychology", "60(2)", "107--126", "10.1016/j.cogpsych.2009.09.002"),
    _article("kaplan1958", "Kaplan, E. L. and Meier, Paul", "Nonparametric Estimation from Incomplete Observations",
             1958, "Journal of the American Statistical Association", "53(282)", "457--481",
             "10.1080/01621459.1958.10501452"),
    _article("mackenzie2003", "MacKenzie, Darryl I. and Nichols, James D. and Hines, James E. and others",
             "Estimating site occupancy, colonization, and local extinction when a species is detected imperfectly",
             2003, "Ecology", "84(8)", "2200--2207", "10.1890/02-3090"),
    _article("youden1950", "Youden, W. J.", "Index for rating diagnostic tests", 1950, "Cancer", "3(1)", "32--35"),
    _article("anderson2001", "Anderson, Marti J.",
             "A new method for non-parametric multivariate analysis of variance", 2001, "Austral Ecology", "26(1)",
             "32--46", "10.1111/j.1442-9993.2001.01070.pp.x"),
    _entry("hays1963", "book", "Hays, William L.", "Statistics for Psychologists", 1963,
           {"publisher": "Holt, Rinehart and Winston"}),
    _article("rousseeuw1987", "Rousseeuw, Peter J.",
             "Silhouettes: A graphical aid to the interpretation and validation of cluster analysis", 1987,
             "Journal of Computational and Applied Mathematics", "20", "53--65", "10.1016/0377-0427(87)90125-7"),
    _article("tibshirani2001", "Tibshirani, Robert and Walther, Guenther and Hastie, Trevor",
             "Estimating the number of clusters in a data set via the gap statistic", 2001,
             "Journal of the Royal Statistical Society: Series B", "63(2)", "411--423", "10.1111/1467-9868.00293"),
    _proceedings("campello2013", "Campello, Ricardo J. G. B. and Moulavi, Davoud and Sander, Joerg",
                 "Density-Based Clustering Based on Hierarchical Density Estimates", 2013,
                 "Advances in Knowledge Discovery and Data Mining (PAKDD)", "160--172",
                 "10.1007/978-3-642-37456-2_14"),
    _proceedings("wang2025", "Wang, Zhilin and Li, Yafu and Yan, Jianhao and Cheng, Yu and Zhang, Yue",
                 "Unveiling Attractor Cycles in Large Language Models: A Dynamical Systems View of Successive "
                 "Paraphrasing", 2025, "Proceedings of the 63rd Annual Meeting of the Association for Computational "
                 "Linguistics", "12740--12755", arxiv="2502.15208"),
    _article("goodman1957", "Anderson, T. W. and Goodman, Leo A.", "Statistical Inference about Markov Chains", 1957,
             "The Annals of Mathematical Statistics", "28(1)", "89--110", "10.1214/aoms/1177707039"),
    _software("panictda", "Swift, Ben and Hong, Sunyeon", "PANIC-TDA", None,
              "https://github.com/ANUcybernetics/panic-tda"),
    _proceedings("li2016", "Li, Jiwei and Galley, Michel and Brockett, Chris and Gao, Jianfeng and Dolan, Bill",
                 "A Diversity-Promoting Objective Function for Neural Conversation Models", 2016,
                 "Proceedings of NAACL-HLT 2016", "110--119", arxiv="1510.03055"),
    _preprint("shaib2024", "Shaib, Chantal and Barrow, Joe and Sun, Jiuding and others",
              "Standardizing the Measurement of Text Diversity: A Tool and a Comparative Analysis of Scores", 2024,
              "2403.00553"),
    _proceedings("salkar2022", "Salkar, Nikita and Trikalinos, Thomas and Wallace, Byron C. and Nenkova, Ani",
                 "Self-Repetition in Abstractive Neural Summarizers", 2022, "Proceedings of AACL-IJCNLP 2022"),
    _article("mccarthy2010", "McCarthy, Philip M. and Jarvis, Scott",
             "MTLD, vocd-D, and HD-D: A validation study of sophisticated approaches to lexical diversity assessment",
             2010, "Behavior Research Methods", "42(2)", "381--392", "10.3758/BRM.42.2.381"),
    _article("manski1990", "Manski, Charles F.", "Nonparametric Bounds on Treatment Effects", 1990,
             "American Economic Review", "80(2)", "319--323"),
    _article("hurvich1989", "Hurvich, Clifford M. and Tsai, Chih-Ling",
             "Regression and time series model selection in small samples", 1989, "Biometrika", "76(2)", "297--307",
             "10.1093/biomet/76.2.297"),
    _article("schuirmann1987", "Schuirmann, Donald J.",
             "A comparison of the Two One-Sided Tests Procedure and the Power Approach for assessing the equivalence "
             "of average bioavailability", 1987, "Journal of Pharmacokinetics and Biopharmaceutics", "15(6)",
             "657--680", "10.1007/BF01068419"),
    _article("efron1981", "Efron, B. and Stein, C.", "The Jackknife Estimate of Variance", 1981,
             "The Annals of Statistics", "9(3)", "586--596", "10.1214/aos/1176345462"),
    _article("hall1988", "Hall, Peter", "Theoretical Comparison of Bootstrap Confidence Intervals", 1988,
             "The Annals of Statistics", "16(3)", "927--953", "10.1214/aos/1176350933"),
    _article("wilson1927", "Wilson, Edwin B.", "Probable Inference, the Law of Succession, and Statistical Inference",
             1927, "Journal of the American Statistical Association", "22(158)", "209--212",
             "10.1080/01621459.1927.10502953"),
)  # fmt: skip

_GENERATORS = (
    _proceedings("rombach2022", "Rombach, Robin and Blattmann, Andreas and Lorenz, Dominik and Esser, Patrick and "
                 "Ommer, Björn", "High-Resolution Image Synthesis with Latent Diffusion Models", 2022,
                 "IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)", arxiv="2112.10752"),
    _preprint("podell2023", "Podell, Dustin and English, Zion and Lacey, Kyle and others",
              "SDXL: Improving Latent Diffusion Models for High-Resolution Image Synthesis", 2023, "2307.01952"),
    _preprint("sauer2023", "Sauer, Axel and Lorenz, Dominik and Blattmann, Andreas and Rombach, Robin",
              "Adversarial Diffusion Distillation", 2023, "2311.17042"),
    _preprint("luo2023", "Luo, Simian and Tan, Yiqin and Huang, Longbo and Li, Jian and Zhao, Hang",
              "Latent Consistency Models: Synthesizing High-Resolution Images with Few-Step Inference", 2023,
              "2310.04378"),
    _preprint("luo2023lora", "Luo, Simian and Tan, Yiqin and Patil, Suraj and others",
              "LCM-LoRA: A Universal Stable-Diffusion Acceleration Module", 2023, "2311.05556"),
    _preprint("lin2024", "Lin, Shanchuan and Wang, Anran and Yang, Xiao",
              "SDXL-Lightning: Progressive Adversarial Diffusion Distillation", 2024, "2402.13929"),
    _preprint("esser2024", "Esser, Patrick and Kulal, Sumith and Blattmann, Andreas and others",
              "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis", 2024, "2403.03206"),
    _software("flux2024", "{Black Forest Labs}", "FLUX", 2024, "https://github.com/black-forest-labs/flux"),
    _preprint("chen2024pixart", "Chen, Junsong and Ge, Chongjian and Xie, Enze and others",
              "PixArt-Σ: Weak-to-Strong Training of Diffusion Transformer for 4K Text-to-Image Generation", 2024,
              "2403.04692"),
    _preprint("xie2024sana", "Xie, Enze and Chen, Junsong and Chen, Junyu and others",
              "SANA: Efficient High-Resolution Image Synthesis with Linear Diffusion Transformers", 2024,
              "2410.10629"),
    _preprint("wu2025qwenimage", "Wu, Chenfei and Li, Jiahao and Zhou, Jingren and others",
              "Qwen-Image Technical Report", 2025, "2508.02324"),
    _preprint("razzhigaev2023", "Razzhigaev, Anton and Shakhmatov, Arseniy and Maltseva, Anastasia and others",
              "Kandinsky: an Improved Text-to-Image Synthesis with Image Prior and Latent Diffusion", 2023,
              "2310.03502"),
    _preprint("arkhipkin2023", "Arkhipkin, Vladimir and Filatov, Andrei and Vasilev, Viacheslav and others",
              "Kandinsky 3.0 Technical Report", 2023, "2312.03511"),
    _preprint("pernias2023", "Pernias, Pablo and Rampas, Dominic and Richter, Mats L. and others",
              "Würstchen: An Efficient Architecture for Large-Scale Text-to-Image Diffusion Models", 2023,
              "2306.00637"),
    _preprint("chen2025januspro", "Chen, Xiaokang and Wu, Zhiyu and Liu, Xingchao and others",
              "Janus-Pro: Unified Multimodal Understanding and Generation with Data and Model Scaling", 2025,
              "2501.17811"),
    _preprint("wang2024emu3", "Wang, Xinlong and Zhang, Xiaosong and Luo, Zhengxiong and others",
              "Emu3: Next-Token Prediction is All You Need", 2024, "2409.18869"),
)  # fmt: skip

_CAPTIONERS = (
    _proceedings("li2022blip", "Li, Junnan and Li, Dongxu and Xiong, Caiming and Hoi, Steven",
                 "BLIP: Bootstrapping Language-Image Pre-training for Unified Vision-Language Understanding and "
                 "Generation", 2022, "International Conference on Machine Learning (ICML)", arxiv="2201.12086"),
    _proceedings("li2023blip2", "Li, Junnan and Li, Dongxu and Savarese, Silvio and Hoi, Steven",
                 "BLIP-2: Bootstrapping Language-Image Pre-training with Frozen Image Encoders and Large Language "
                 "Models", 2023, "International Conference on Machine Learning (ICML)", arxiv="2301.12597"),
    _preprint("dai2023", "Dai, Wenliang and Li, Junnan and Li, Dongxu and others",
              "InstructBLIP: Towards General-purpose Vision-Language Models with Instruction Tuning", 2023,
              "2305.06500"),
    _preprint("wang2022git", "Wang, Jianfeng and Yang, Zhengyuan and Hu, Xiaowei and others",
              "GIT: A Generative Image-to-text Transformer for Vision and Language", 2022, "2205.14100"),
    _preprint("peng2023", "Peng, Zhiliang and Wang, Wenhui and Dong, Li and others",
              "Kosmos-2: Grounding Multimodal Large Language Models to the World", 2023, "2306.14824"),
    _preprint("xiao2023", "Xiao, Bin and Wu, Haiping and Xu, Weijian and others",
              "Florence-2: Advancing a Unified Representation for a Variety of Vision Tasks", 2023, "2311.06242"),
    _preprint("beyer2024", "Beyer, Lucas and Steiner, Andreas and Pinto, André Susano and others",
              "PaliGemma: A versatile 3B VLM for transfer", 2024, "2407.07726"),
    _proceedings("liu2023llava", "Liu, Haotian and Li, Chunyuan and Wu, Qingyang and Lee, Yong Jae",
                 "Visual Instruction Tuning", 2023, "Advances in Neural Information Processing Systems 36",
                 arxiv="2304.08485"),
    _preprint("liu2023improved", "Liu, Haotian and Li, Chunyuan and Li, Yuheng and Lee, Yong Jae",
              "Improved Baselines with Visual Instruction Tuning", 2023, "2310.03744"),
    _preprint("li2024onevision", "Li, Bo and Zhang, Yuanhan and Guo, Dong and others",
              "LLaVA-OneVision: Easy Visual Task Transfer", 2024, "2408.03326"),
    _preprint("wang2024qwen2vl", "Wang, Peng and Bai, Shuai and Tan, Sinan and others",
              "Qwen2-VL: Enhancing Vision-Language Model's Perception of the World at Any Resolution", 2024,
              "2409.12191"),
    _preprint("bai2025", "Bai, Shuai and Chen, Keqin and Liu, Xuejing and others", "Qwen2.5-VL Technical Report", 2025,
              "2502.13923"),
    _preprint("laurencon2024", "Laurençon, Hugo and Marafioti, Andrés and Sanh, Victor and Tronchon, Léo",
              "Building and better understanding vision-language models: insights and future directions", 2024,
              "2408.12637"),
    _preprint("marafioti2025", "Marafioti, Andrés and Zohar, Orr and Farré, Miquel and others",
              "SmolVLM: Redefining small and efficient multimodal models", 2025, "2504.05299"),
    _preprint("gemma2025", "{Gemma Team}", "Gemma 3 Technical Report", 2025, "2503.19786"),
    _preprint("zhu2025", "Zhu, Jinguo and Wang, Weiyun and Chen, Zhe and others",
              "InternVL3: Exploring Advanced Training and Test-Time Recipes for Open-Source Multimodal Models", 2025,
              "2504.10479"),
    _preprint("agrawal2024", "Agrawal, Pravesh and Antoniak, Szymon and Bou Hanna, Emma and others", "Pixtral 12B",
              2024, "2410.07073"),
)  # fmt: skip

_EMBEDDERS = (
    _proceedings("radford2021", "Radford, Alec and Kim, Jong Wook and Hallacy, Chris and others",
                 "Learning Transferable Visual Models From Natural Language Supervision", 2021,
                 "International Conference on Machine Learning (ICML)", arxiv="2103.00020"),
    _proceedings("cherti2023", "Cherti, Mehdi and Beaumont, Romain and Wightman, Ross and others",
                 "Reproducible Scaling Laws for Contrastive Language-Image Learning", 2023,
                 "IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)", arxiv="2212.07143"),
    _preprint("schuhmann2022", "Schuhmann, Christoph and Beaumont, Romain and Vencu, Richard and others",
              "LAION-5B: An open large-scale dataset for training next generation image-text models", 2022,
              "2210.08402"),
    _preprint("gadre2023", "Gadre, Samir Yitzhak and Ilharco, Gabriel and Fang, Alex and others",
              "DataComp: In search of the next generation of multimodal datasets", 2023, "2304.14108"),
    _preprint("zhai2023", "Zhai, Xiaohua and Mustafa, Basil and Kolesnikov, Alexander and Beyer, Lucas",
              "Sigmoid Loss for Language Image Pre-Training", 2023, "2303.15343"),
    _preprint("tschannen2025", "Tschannen, Michael and Gritsenko, Alexey and Wang, Xiao and others",
              "SigLIP 2: Multilingual Vision-Language Encoders with Improved Semantic Understanding, Localization, and "
              "Dense Features", 2025, "2502.14786"),
    _preprint("oquab2023", "Oquab, Maxime and Darcet, Timothée and Moutakanni, Théo and others",
              "DINOv2: Learning Robust Visual Features without Supervision", 2023, "2304.07193"),
    _preprint("simeoni2025", "Siméoni, Oriane and Vo, Huy V. and Seitzer, Maximilian and others", "DINOv3", 2025,
              "2508.10104"),
    _proceedings("reimers2019", "Reimers, Nils and Gurevych, Iryna",
                 "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks", 2019,
                 "Proceedings of the 2019 Conference on Empirical Methods in Natural Language Processing",
                 arxiv="1908.10084"),
    _preprint("song2020", "Song, Kaitao and Tan, Xu and Qin, Tao and Lu, Jianfeng and Liu, Tie-Yan",
              "MPNet: Masked and Permuted Pre-training for Language Understanding", 2020, "2004.09297"),
    _preprint("wang2020", "Wang, Wenhui and Wei, Furu and Dong, Li and others",
              "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers",
              2020, "2002.10957"),
)  # fmt: skip

_LIBRARIES = (
    _proceedings("paszke2019", "Paszke, Adam and Gross, Sam and Massa, Francisco and others",
                 "PyTorch: An Imperative Style, High-Performance Deep Learning Library", 2019,
                 "Advances in Neural Information Processing Systems 32", arxiv="1912.01703"),
    _software("vonplaten2022", "von Platen, Patrick and Patil, Suraj and Lozhkov, Anton and others",
              "Diffusers: State-of-the-art diffusion models", 2022, "https://github.com/huggingface/diffusers"),
    _proceedings("wolf2020", "Wolf, Thomas and Debut, Lysandre and Sanh, Victor and others",
                 "Transformers: State-of-the-Art Natural Language Processing", 2020,
                 "Proceedings of the 2020 Conference on Empirical Methods in Natural Language Processing: System "
                 "Demonstrations", "38--45", arxiv="1910.03771"),
    _software("ilharco2021", "Ilharco, Gabriel and Wortsman, Mitchell and Wightman, Ross and others", "OpenCLIP", 2021,
              doi="10.5281/zenodo.5143773"),
    _article("harris2020", "Harris, Charles R. and Millman, K. Jarrod and van der Walt, Stéfan J. and others",
             "Array programming with NumPy", 2020, "Nature", "585", "357--362", "10.1038/s41586-020-2649-2"),
    _article("virtanen2020", "Virtanen, Pauli and Gommers, Ralf and Oliphant, Travis E. and others",
             "SciPy 1.0: Fundamental Algorithms for Scientific Computing in Python", 2020, "Nature Methods", "17",
             "261--272", "10.1038/s41592-019-0686-2"),
    _article("pedregosa2011", "Pedregosa, Fabian and Varoquaux, Gaël and Gramfort, Alexandre and others",
             "Scikit-learn: Machine Learning in Python", 2011, "Journal of Machine Learning Research", "12",
             "2825--2830"),
    _article("hunter2007", "Hunter, John D.", "Matplotlib: A 2D Graphics Environment", 2007,
             "Computing in Science & Engineering", "9(3)", "90--95", "10.1109/MCSE.2007.55"),
)  # fmt: skip

TABLE: Mapping[str, Reference] = MappingProxyType(
    {one.key: one for one in (*_LOOPSIM, *_MEASURES, *_GENERATORS, *_CAPTIONERS, *_EMBEDDERS, *_LIBRARIES)}
)
"""Key to reference."""
